"""The subcommands of `pgannex`, a file each: arguments and output. The work is in host/ and app."""
