"""The duty page and its sister pages: what a duty officer sees. Server-rendered; every page works without script."""
