-- Moves a partition on, at the end of the transaction that stored its batch. Sent in one message with COMMIT, so that a worker
-- which freezes holds no lock that its successor needs.
--
-- PS001: another worker owns the partition, or the position is not where this batch starts.
-- PS002: sequences of this batch are stored already, or a session is gone: what the worker remembers is stale.
CREATE OR REPLACE FUNCTION advance(
    in_topic text, in_partition integer, in_fence bigint, in_start bigint, in_end bigint,
    in_sessions integer[], in_received int8multirange[], in_frames bigint[], in_first_us bigint[], in_last_us bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    updated integer;
BEGIN
    UPDATE positions SET next_offset = in_end, heartbeat = clock_timestamp()
     WHERE topic = in_topic AND partition = in_partition AND fence = in_fence AND next_offset = in_start;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'fence % at offset % is not in force', in_fence, in_start USING ERRCODE = 'PS001';
    END IF;

    IF cardinality(in_sessions) = 0 THEN
        RETURN;
    END IF;

    UPDATE sessions s
       SET received = s.received + batch.received,
           frames = s.frames + batch.frames,
           started_at = coalesce(s.started_at, timestamptz 'epoch' + batch.first_us * interval '1 microsecond'),
           topic = in_topic, partition = in_partition,  -- who times its laps is asked for by these: it may have moved
           last_frame_at = greatest(s.last_frame_at, timestamptz 'epoch' + batch.last_us * interval '1 microsecond'),
           updated_at = clock_timestamp()
      FROM unnest(in_sessions, in_received, in_frames, in_first_us, in_last_us)
           AS batch(id, received, frames, first_us, last_us)
     WHERE s.id = batch.id AND NOT (s.received && batch.received);
    GET DIAGNOSTICS updated = ROW_COUNT;
    IF updated <> cardinality(in_sessions) THEN
        RAISE EXCEPTION 'of % sessions only % could take their frames', cardinality(in_sessions), updated
            USING ERRCODE = 'PS002';
    END IF;

    -- Of the open gaps only those that this batch brings something of: a session may have ten thousands, and each is held against
    -- all that was received.
    WITH met AS MATERIALIZED (
        SELECT g.id, g.session_id, int8range(g.from_sequence, g.to_sequence, '[]') AS missing
          FROM unnest(in_sessions, in_received) AS batch(id, received)
          JOIN gaps g ON g.session_id = batch.id AND g.healed_at IS NULL
           AND g.to_sequence >= lower(batch.received) AND g.from_sequence < upper(batch.received)  -- by the index
           AND batch.received && int8range(g.from_sequence, g.to_sequence, '[]')
    )
    UPDATE gaps g SET healed_at = clock_timestamp()
      FROM met JOIN sessions s ON s.id = met.session_id
     WHERE g.id = met.id AND s.received @> met.missing;
END
$$;
