"""The strategies of the simulation. They are found by name, as an operator's own are."""
