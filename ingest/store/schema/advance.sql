-- Moves a partition on, at the end of the transaction that stored its batch. Sent in one message with COMMIT, so that a worker
-- which freezes holds no lock that its successor needs.
--
-- Answers with the sessions of which another worker stored frames that this one does not know (in_known_frames are not as many as
-- there were): it comes by two partitions at once. Their laps from in_known_to_us on are to be timed again, from the store.
--
-- PS001: another worker owns the partition, or the position is not where this batch starts.
-- PS002: sequences of this batch are stored already, or a session is gone: what the worker remembers is stale.
-- A worker of an older version would go on with this one, which knows no shared sessions.
DROP FUNCTION IF EXISTS advance(
    text, integer, bigint, bigint, bigint, integer[], int8multirange[], bigint[], bigint[], bigint[]
);
DROP FUNCTION IF EXISTS advance(
    text, integer, bigint, bigint, bigint, integer[], int8multirange[], bigint[], bigint[], bigint[], bigint[], bigint[]
);
CREATE OR REPLACE FUNCTION advance(
    in_topic text, in_partition integer, in_fence bigint, in_start bigint, in_end bigint,
    in_sessions integer[], in_received int8multirange[], in_frames bigint[], in_first_us bigint[], in_last_us bigint[],
    in_known_frames bigint[], in_known_to_us bigint[],
    in_clocks text[] DEFAULT '{}'  -- an array of bigint for each session; a worker of an older version sends none
) RETURNS integer[] LANGUAGE plpgsql AS $$
DECLARE
    updated integer[];
    shared integer[];
BEGIN
    UPDATE partition_offsets SET next_offset = in_end, heartbeat = clock_timestamp()
     WHERE topic = in_topic AND partition = in_partition AND fence = in_fence AND next_offset = in_start;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'fence % at offset % is not in force', in_fence, in_start USING ERRCODE = 'PS001';
    END IF;

    IF cardinality(in_sessions) = 0 THEN
        RETURN '{}';
    END IF;

    WITH moved_on AS (
    UPDATE sessions s
       SET received = s.received + batch.received,
           frames = s.frames + batch.frames,
           started_at = coalesce(s.started_at, timestamptz 'epoch' + batch.first_us * interval '1 microsecond'),
           topic = in_topic, partition = in_partition,  -- who times its laps is asked for by these: it may have moved
           last_frame_at = greatest(s.last_frame_at, timestamptz 'epoch' + batch.last_us * interval '1 microsecond'),
           late_from = CASE WHEN s.frames = batch.known_frames THEN s.late_from
                            ELSE least(s.late_from, timestamptz 'epoch' + batch.known_to_us * interval '1 microsecond') END,
           clock_state = coalesce(nullif(batch.clock, '{}')::bigint[], s.clock_state),
           updated_at = clock_timestamp()
      FROM unnest(in_sessions, in_received, in_frames, in_first_us, in_last_us, in_known_frames, in_known_to_us, in_clocks)
           AS batch(id, received, frames, first_us, last_us, known_frames, known_to_us, clock)
     WHERE s.id = batch.id AND NOT (s.received && batch.received)
    RETURNING s.id, s.frames - batch.frames <> batch.known_frames AS is_shared
    )
    SELECT array_agg(id), coalesce(array_agg(id) FILTER (WHERE moved_on.is_shared), '{}') INTO updated, shared FROM moved_on;
    IF coalesce(cardinality(updated), 0) <> cardinality(in_sessions) THEN
        RAISE EXCEPTION 'of % sessions only % could take their frames', cardinality(in_sessions), coalesce(cardinality(updated), 0)
            USING ERRCODE = 'PS002';
    END IF;

    -- A gap that another worker has filled while this one wrote it down is none.
    IF cardinality(shared) > 0 THEN
        UPDATE gaps g SET resolved_at = clock_timestamp()
          FROM sessions s
         WHERE s.id = ANY (shared) AND g.session_id = s.id AND g.resolved_at IS NULL
           AND s.received @> int8range(g.from_sequence, g.to_sequence, '[]');
    END IF;

    -- Of the open gaps only those that this batch brings something of: a session may have ten thousands, and each is held against
    -- all that was received.
    WITH met AS MATERIALIZED (
        SELECT g.id, g.session_id, int8range(g.from_sequence, g.to_sequence, '[]') AS missing
          FROM unnest(in_sessions, in_received) AS batch(id, received)
          JOIN gaps g ON g.session_id = batch.id AND g.resolved_at IS NULL
           AND g.to_sequence >= lower(batch.received) AND g.from_sequence < upper(batch.received)  -- by the index
           AND batch.received && int8range(g.from_sequence, g.to_sequence, '[]')
    )
    UPDATE gaps g SET resolved_at = clock_timestamp()
      FROM met JOIN sessions s ON s.id = met.session_id
     WHERE g.id = met.id AND s.received @> met.missing;
    RETURN shared;
END
$$;
