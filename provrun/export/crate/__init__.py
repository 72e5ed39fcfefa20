"""A directory for a repository of data: a page of provenance, what it names, and a description for people and machines.

Everything is read from the triples of the page, so a crate says nothing that its page does not.
"""
