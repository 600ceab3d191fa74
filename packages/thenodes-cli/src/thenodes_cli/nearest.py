"""Groups of commands that name the nearest one where there is none of that name."""

from __future__ import annotations

from difflib import get_close_matches

import click

__all__ = ["NearestGroup"]


class NearestGroup(click.Group):
    """A group that says what was perhaps meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first word names.

        Raises:
            click.UsageError: there is none; says which is near.
        """
        known = args[0].startswith("-") or self.get_command(ctx, args[0]) is not None
        # While a shell completes, what is not known is not yet whole.
        if not known and not ctx.resilient_parsing:
            ctx.fail(self.unknown(ctx, args))
        return super().resolve_command(ctx, args)

    def unknown(self, ctx: click.Context, args: list[str]) -> str:
        """What is said of a command that there is not."""
        names = self.list_commands(ctx)
        near = get_close_matches(args[0], names, n=1)
        meant = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)}"
        return f"no command {args[0]!r}; {meant}"
