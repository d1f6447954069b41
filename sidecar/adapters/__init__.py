"""One outside thing a file; ``wiring`` alone imports them."""
