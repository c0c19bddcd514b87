"""Mechanism: a small OTP for Python processes. It has never heard of a trade."""
