/*
 * transaction.c: is the statement inside a transaction block?
 *
 * For the notice that what was trained is not committed yet. No function of Postgres tells:
 * its clocks differ between messages of one statement too. True as well inside a block with
 * an EXCEPTION clause, which may still roll back.
 */
#include "annex.h"

#include "access/xact.h"

PG_FUNCTION_INFO_V1(pgml_in_transaction_block);
Datum
pgml_in_transaction_block(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(IsTransactionBlock());
}
