"""What a feed is made of, without I/O: what arrives goes in, what is to be said and what is wanted come out."""
