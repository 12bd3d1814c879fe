"""What requests may take: bytes, seconds, memory, and how many of them. Of one replica.

See docs/adr/0144-how-a-body-is-read.md.
"""
