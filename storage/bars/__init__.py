"""Bars of ticks: how they are counted, merged, and kept beside sealed days."""
