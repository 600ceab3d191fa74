"""`python -m thenodes_cli`."""

from .main import main

main()
