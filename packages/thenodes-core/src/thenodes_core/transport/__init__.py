"""Connections that carry messages: WebSocket, and in memory."""
