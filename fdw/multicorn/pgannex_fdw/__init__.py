"""The FDW host for Multicorn2: the contract of docs/architecture.md as a Python class.

`wrapper.PgannexForeignDataWrapper` is what the foreign server's option `wrapper` names.
Its neighbours: `options` reads what a foreign table declares, `plan` turns quals into a
request, `client` speaks the wire protocol on the unix socket, `rows` converts values,
`report` raises errors and notices, `backend` asks the Postgres backend for what Multicorn
does not tell. Standard library and `pgannex_wire` only: every backend pays for imports.
"""

VERSION = "0.1.0"
