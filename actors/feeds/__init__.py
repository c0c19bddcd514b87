"""Where the market comes from: a made-up one, recorded files, or a tick gateway."""
