"""Bytes on sockets: HTTP/1.1 server and client on llhttp. Knows nothing of calls, policy or evidence."""
