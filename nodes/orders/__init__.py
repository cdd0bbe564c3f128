"""What orders and fills are, shared by executor and session."""
