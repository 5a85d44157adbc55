"""How nets learn: negatives, losses, engines and the one loop."""
