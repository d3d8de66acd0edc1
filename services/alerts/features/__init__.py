"""From samples to quantities that mean something: what the machine did, and how it performed in each state."""
