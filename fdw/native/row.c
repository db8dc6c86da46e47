/*
 * row.c: frames of results into the rows of a scan.
 *
 * Outputs come from the frame; the inputs and `ordinal` are filled in here, from what the
 * quals gave. Values are made in the per-tuple memory that the executor resets.
 */
#include "annex.h"

/* Take the next frame that has rows. False at the end. */
static bool
next_frame(AnnexScan *scan)
{
	do
	{
		const char *wrong;

		if (scan->current != NULL)
			pfree(scan->current);
		scan->current = NULL;
		scan->current = annex_stream_next(scan);
		if (scan->current == NULL)
			return false;
		wrong = frame_block(scan->current->payload, scan->current->length, scan->noutputs,
							scan->columns, &scan->current_rows);
		if (wrong != NULL)
			annex_protocol_error(wrong);
		scan->current_row = 0;
	} while (scan->current_rows == 0);
	return true;
}

static void
decode_outputs(AnnexScan *scan, TupleTableSlot *slot)
{
	int			i;

	for (i = 0; i < scan->noutputs; i++)
	{
		AttrNumber	attnum = scan->outputs[i];

		slot->tts_values[attnum - 1] = annex_decode(&scan->codecs[i], &scan->columns[i],
													&slot->tts_isnull[attnum - 1],
													scan->table->columns[attnum - 1].name);
	}
}

static void
fill_outputs(AnnexScan *scan, TupleTableSlot *slot)
{
	int			saved = annex_utf8_begin();

	if (saved < 0)
	{
		decode_outputs(scan, slot);
		return;
	}
	PG_TRY();
	{
		decode_outputs(scan, slot);
	}
	PG_FINALLY();
	{
		annex_utf8_end(saved);
	}
	PG_END_TRY();
}

static void
fill_inputs(AnnexScan *scan, TupleTableSlot *slot)
{
	int			i;

	for (i = 0; i < scan->ninputs; i++)
	{
		int			at = scan->inputs[i] - 1;
		bool		batch = i == scan->batch;

		slot->tts_values[at] = batch ? scan->elements[scan->position] : scan->values[i];
		slot->tts_isnull[at] = batch && scan->element_nulls[scan->position];
	}
	if (scan->table->ordinal != InvalidAttrNumber)
	{
		slot->tts_values[scan->table->ordinal - 1] = Int64GetDatum(scan->position + 1);
		slot->tts_isnull[scan->table->ordinal - 1] = false;
	}
}

/* Put the next row into the slot's arrays. False at the end. */
bool
annex_next_row(AnnexScan *scan, TupleTableSlot *slot)
{
	while (scan->current == NULL || scan->current_row >= scan->current_rows)
	{
		if (next_frame(scan))
			break;
		if (scan->batch >= 0 && scan->position != scan->nelements)
			annex_protocol_error("fewer rows than inputs");
		return false;
	}
	if (scan->batch >= 0 && scan->position >= scan->nelements)
		annex_protocol_error("more rows than inputs");
	memset(slot->tts_isnull, true, sizeof(bool) * slot->tts_tupleDescriptor->natts);
	fill_outputs(scan, slot);
	fill_inputs(scan, slot);
	scan->current_row++;
	scan->position++;
	scan->stats.rows++;
	return true;
}
