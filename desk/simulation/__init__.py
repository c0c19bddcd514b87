"""Pure models of a venue, shared by the paper venue, the simulation and backtests."""
