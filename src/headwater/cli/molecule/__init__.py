"""`headwater molecule`: generate, target, grow and score molecules."""
