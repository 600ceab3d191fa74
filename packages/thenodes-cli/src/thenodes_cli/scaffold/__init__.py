"""Plugin projects: making one from a template, and bringing it what is new in the template."""
