"""The certificates that the server shows, who signs them and when they change; who speaks TLS is in `front`."""
