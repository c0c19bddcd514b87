"""Mechanism: a small OTP for Python processes. It has never heard of a trade.

In the order in which it reads best:

1. What is promised. ``spec`` is the tree as data, ``restart`` the types, limits and backoff, ``supervision`` the whole
   tree as one pure state machine (with its words, places, moves and rows beside it).
2. Who does it. ``root`` is the one loop that carries those decisions out, with ``process`` (pidfds, reaping),
   ``zygote`` (forks), ``keeper`` (what outlives root) and ``warden`` (limits).
3. What a child is. ``child`` is its life from fork to exit code, behind the walls of ``landlock`` and ``seccomp``;
   ``room`` is what a part of the desk implements, ``effects`` what it answers, ``actor`` the shell around it.
4. How they speak. ``words`` and ``codec``, ``link`` (what an acknowledged link is, pure), ``bus`` (ZeroMQ, and nothing
   else that knows it), ``control_door`` and ``bucket`` (operators).
5. What stays. ``store`` (LMDB, and nothing else that knows it), ``folder`` (lock, sockets, the halt), ``check`` and
   ``log``.
6. What is seen. ``measure``, ``beacon`` and ``report``.

What it does not do: it swallows no error and repairs no state in place. A process that is wrong ends, and another one
begins from what was committed.
"""
