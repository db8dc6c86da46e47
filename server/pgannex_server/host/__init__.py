"""Everything that puts pgannex onto a machine: the embedded Postgres, the server's process,
building and installing the extension, and saying what is wrong with any of it.

Standard library only, except where a module says otherwise: tools/bootstrap.py runs parts
of this before anything is installed. It knows the server from outside, by its configuration
file, its process and its HTTP socket, and imports none of its rooms.
"""
