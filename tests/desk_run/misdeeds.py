"""In which ways the naughty strategy misbehaves, with which limits, and how each way shows in the status."""

#: Part of the last error of whoever misbehaved so.
ENDS = {
    "raise": "ValueError: naughty",
    "exit": "exit status 0",
    "segfault": "signal SIGSEGV",
    "hang": "no progress for",
    "freeze": "no progress for",
    "pipe": "no progress for",
    "spin": "a handler used more than 0.5 s of processor time; its stack is in log/strategies.spin",
    "fork": "PermissionError: [Errno 1] Operation not permitted",
    "brood": " processes, over the limit of 3",
    "files": "OSError: [Errno 24] Too many open files",
    "print": "it printed more than 1 MiB twice in 10 s; the end of it is in log/strategies.print",
    "leak": "MiB of memory, over the hard limit of 200 MiB",
}
_SILENT = "    limits: {hang_s: 1.5}\n"
#: What such an entry says under ``limits``.
NAUGHTY_LIMITS = {
    "hang": _SILENT,
    "freeze": _SILENT,
    "pipe": _SILENT,
    "spin": "    limits: {cpu_s: 0.5, hang_s: 60}\n",
    "brood": "    limits: {processes: 3}\n",
    "print": "    limits: {output_mb: 1, cpu_s: 60, hang_s: 60}\n",
    "leak": "    limits: {memory_soft_mb: 150, memory_hard_mb: 200, cpu_s: 60, hang_s: 60}\n",
    "intents": "    risk_config: {max_order_notional_usd: 1}\n    limits: {hang_s: 60, cpu_s: 60}\n",
}
