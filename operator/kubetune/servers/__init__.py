"""Servers of any role: what they are made from, how they roll, whether they answer, what to say of them."""
