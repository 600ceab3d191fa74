"""Who is connected, who is known, and who is to be dialled."""
