"""What a recorder process takes from itself before it hears the first byte from outside."""
