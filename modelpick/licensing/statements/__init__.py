"""What the prose of a card says of its terms: text in, statements out. The door is `reading.read_statements`. Pure."""
