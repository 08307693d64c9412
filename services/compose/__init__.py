"""What both forms compose alike of the three services: cases from their events, the HTTP application, the server around it."""
