"""The dashboard: a page of the gateway's server, loaded when somebody opens it first."""
