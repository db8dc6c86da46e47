/*
 * artifact.c: the answer to NEED: the parts of an artifact, out of the caller's database.
 *
 * The table's option `artifact` holds the query; it runs under the scan's snapshot with
 * the caller's rights. One part at a time is fetched and sent, so a large model never lies
 * in this backend as a whole.
 */
#include "annex.h"

#include "catalog/pg_type.h"

typedef struct PartSender
{
	AnnexScan  *scan;
	const char *hash;
	uint32		seq;
	bytea	   *held;			/* fetched, but not yet known to be the last */
	MemoryContext mcxt;			/* of `held`, which outlives the query */
} PartSender;

static void
send_part(PartSender *sender, uint8 flags)
{
	FrameBuffer *out;

	if (sender->scan->stream.conn == NULL)
		annex_protocol_error("END while an artifact is on its way");
	out = &sender->scan->stream.conn->out;
	if (sender->held == NULL)
		frame_put_part(out, sender->seq, flags, annex_to_utf8(sender->hash), NULL, 0);
	else
	{
		frame_put_part(out, sender->seq, flags, annex_to_utf8(sender->hash),
					   VARDATA_ANY(sender->held), VARSIZE_ANY_EXHDR(sender->held));
		pfree(sender->held);
	}
	sender->held = NULL;
	sender->seq++;
	annex_stream_drain(sender->scan);
}

static bool
take_part(void *arg, TupleTableSlot *slot)
{
	PartSender *sender = arg;
	bool		isnull;
	Datum		value = slot_getattr(slot, 1, &isnull);
	MemoryContext old;

	if (sender->held != NULL)
		send_part(sender, 0);
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("part %u of artifact \"%s\" is NULL", sender->seq, sender->hash),
				 errdetail("code: artifact_invalid")));
	old = MemoryContextSwitchTo(sender->mcxt);
	sender->held = DatumGetByteaPCopy(value);
	MemoryContextSwitchTo(old);
	if (VARSIZE_ANY_EXHDR(sender->held) > FRAME_PART_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("part %u of artifact \"%s\" has %zu bytes; the limit is %u", sender->seq,
						sender->hash, (size_t) VARSIZE_ANY_EXHDR(sender->held), FRAME_PART_MAX),
				 errdetail("code: too_large")));
	return true;
}

/* Send every part of the artifact, or say that the database does not hold it. */
void
annex_artifact_send(AnnexScan *scan, const char *hash)
{
	MemoryContext context = AllocSetContextCreate(scan->request_mcxt, "pgannex artifact",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	PartSender	sender = {scan, hash, 0, NULL, context};
	AnnexQuery *query;

	if (scan->table->artifact != NULL)
	{
		query = annex_query(scan->node->ss.ps.state, scan->table->artifact, hash, false);
		if (annex_query_desc(query)->natts != 1 ||
			TupleDescAttr(annex_query_desc(query), 0)->atttypid != BYTEAOID)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("the option \"artifact\" of \"%s\" must be a query of one bytea column",
							scan->table->name)));
		while (annex_query_run(query, 1, take_part, &sender))
			;
		annex_query_end(query);
	}
	if (sender.held != NULL)
		send_part(&sender, FLAG_LAST);
	else
		send_part(&sender, FLAG_LAST | FLAG_MISSING);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
