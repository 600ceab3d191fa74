"""The plugin host: finds plugins, starts them, and gives each what is for it."""
