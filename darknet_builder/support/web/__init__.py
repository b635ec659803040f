"""Addresses of web servers, object stores and archives: their parts, and how to read them."""
