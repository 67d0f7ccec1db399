-- The store. Every statement may run again: it creates what is absent and leaves the rest alone.
-- Table telemetry is not here: its columns come from analytics/model/channels.py (see ingest/store/schema/migrations.py).
-- Nor is telemetry_pending, which has the same ones: frames of a chunk that is locked while it is compressed go there, in the
-- transaction that counts them as received, and move into telemetry when it is free (see ingest/store/locked_chunks.py).

-- One row for each session: a car of one user on one track, from its collector's start to its end.
CREATE TABLE IF NOT EXISTS sessions (
    id             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key            text NOT NULL UNIQUE,
    user_id        text NOT NULL DEFAULT '',
    game           text NOT NULL DEFAULT '',
    track          text NOT NULL DEFAULT '',
    car            text NOT NULL DEFAULT '',
    driver         text NOT NULL DEFAULT '',
    track_length_m real,
    sector_count   integer,
    sample_rate_hz real,
    started_at     timestamptz,
    last_frame_at  timestamptz,
    frames         bigint NOT NULL DEFAULT 0,
    received       int8multirange NOT NULL DEFAULT '{}',  -- the sequences stored
    topic          text NOT NULL,                         -- by which its last frames came
    partition      integer NOT NULL,
    updated_at     timestamptz NOT NULL DEFAULT now(),    -- when ingest last wrote to it, by the server's clock
    last_sequence  bigint NOT NULL DEFAULT 0,             -- the highest one that its collector reported as sent
    reported_at    timestamptz,                           -- when its collector reported that
    late_from      timestamptz,                           -- the laps from here on lack frames that came late (NULL: none do)
    track_id       integer,                               -- the version of its track that its laps are timed on (NULL: none was known)
    clock_state    bigint[],                              -- what places its next frame in time (ingest/codec/session_times.py)
    title          text NOT NULL DEFAULT '',              -- shown in place of the key (empty: none was given)
    hidden         boolean NOT NULL DEFAULT false         -- only its user sees it, and it counts for no best time
);
ALTER TABLE sessions ADD COLUMN IF NOT EXISTS last_sequence bigint NOT NULL DEFAULT 0,
                     ADD COLUMN IF NOT EXISTS reported_at timestamptz,
                     ADD COLUMN IF NOT EXISTS late_from timestamptz,
                     ADD COLUMN IF NOT EXISTS track_id integer,
                     ADD COLUMN IF NOT EXISTS clock_state bigint[],
                     ADD COLUMN IF NOT EXISTS title text NOT NULL DEFAULT '',
                     ADD COLUMN IF NOT EXISTS hidden boolean NOT NULL DEFAULT false;
CREATE INDEX IF NOT EXISTS sessions_track ON sessions (game, track, id);
CREATE INDEX IF NOT EXISTS sessions_late ON sessions (id) WHERE late_from IS NOT NULL;

-- Corrections of clocks that were wrong: from that sequence on, up to the next row's, offset_ms was added to the times that the frames came
-- with, so that they lie where the broker got them, in their order and spacing. A session without a row has the times of its clock.
CREATE TABLE IF NOT EXISTS clock_corrections (
    session_id    integer NOT NULL,
    from_sequence bigint NOT NULL,                        -- 0: from the session's start, and frames without a sequence
    offset_ms     bigint NOT NULL,                        -- the frame's own time is its time less this
    placed_at     timestamptz NOT NULL,                   -- of the first frame that it moved
    reason        text NOT NULL,                          -- what was wrong with that frame's time
    seen_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session_id, from_sequence)
);

-- Where a track's line and sectors lie, learnt from laps or written by a person (authored). A version is never changed: sessions
-- keep the one that they began with.
CREATE TABLE IF NOT EXISTS tracks (
    id               integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    game             text NOT NULL,
    name             text NOT NULL,
    version          integer NOT NULL,
    origin           text NOT NULL CHECK (origin IN ('learnt', 'authored')),
    line_position    double precision NOT NULL,           -- normalized, as in telemetry
    sector_positions double precision[] NOT NULL,         -- where sectors 2, 3 ... begin; none: unknown
    length_m         double precision,
    laps             integer NOT NULL DEFAULT 0,          -- how many it was learnt from
    spread           double precision NOT NULL DEFAULT 0, -- robust standard deviation of their lines, in laps
    made_at          timestamptz NOT NULL DEFAULT now(),
    UNIQUE (game, name, version)
);

-- The laps of each session, as the lap engine timed them.
CREATE TABLE IF NOT EXISTS laps (
    session_id           integer NOT NULL,
    lap_number           integer NOT NULL,
    started_at           timestamptz NOT NULL,            -- the frames of a lap: started_at <= time < ended_at
    ended_at             timestamptz,
    lap_time_ms          integer,                         -- ours, measured at the line
    official_lap_time_ms integer,                         -- the game's
    sector_times_ms      integer[] NOT NULL DEFAULT '{}',
    sector_source        text NOT NULL DEFAULT '',        -- game or computed
    flags                text[] NOT NULL DEFAULT '{}',    -- out, in, pit, partial, invalid, reset; none: a flying lap
    frames               integer NOT NULL,
    gaps                 integer NOT NULL,
    max_speed_kmh        real NOT NULL,
    max_speed_position   double precision,                -- where it was reached
    reasons              text[] NOT NULL DEFAULT '{}',    -- why it has its flags (analytics/model/lap.py lists them)
    computed_sector_times_ms integer[] NOT NULL DEFAULT '{}', -- measured where the track's sectors lie
    mini_sector_times_ms integer[] NOT NULL DEFAULT '{}', -- of 25 equal parts; NULL: not seen whole
    line_position        double precision,                -- where the game counted it (NULL: no line was seen)
    sector_positions     double precision[] NOT NULL DEFAULT '{}', -- where the game went on to sectors 2, 3 ...
    sector_ends_us       bigint[] NOT NULL DEFAULT '{}',  -- when the sectors ended, pauses included, in us since 1970
    engine               integer NOT NULL DEFAULT 1,      -- the version of the lap engine that timed it
    PRIMARY KEY (session_id, lap_number)
);
ALTER TABLE laps ADD COLUMN IF NOT EXISTS max_speed_position double precision,
                 ADD COLUMN IF NOT EXISTS reasons text[] NOT NULL DEFAULT '{}',
                 ADD COLUMN IF NOT EXISTS computed_sector_times_ms integer[] NOT NULL DEFAULT '{}',
                 ADD COLUMN IF NOT EXISTS mini_sector_times_ms integer[] NOT NULL DEFAULT '{}',
                 ADD COLUMN IF NOT EXISTS line_position double precision,
                 ADD COLUMN IF NOT EXISTS sector_positions double precision[] NOT NULL DEFAULT '{}',
                 ADD COLUMN IF NOT EXISTS sector_ends_us bigint[] NOT NULL DEFAULT '{}',
                 ADD COLUMN IF NOT EXISTS engine integer NOT NULL DEFAULT 1,
                 ADD COLUMN IF NOT EXISTS ended_at timestamptz;
-- Laps of older versions ended where the next one began, or after their time where that one was driven anew. Without a time they
-- ended before the next lap that there is, or with the session's last frame.
UPDATE laps l
   SET ended_at = coalesce(
           (SELECT n.started_at FROM laps n
             WHERE n.session_id = l.session_id AND n.lap_number = l.lap_number + 1 AND NOT 'reset' = ANY (n.flags)),
           l.started_at + coalesce(nullif(l.lap_time_ms, 0), nullif(l.official_lap_time_ms, 0)) * interval '1 ms',
           (SELECT min(n.started_at) FROM laps n
             WHERE n.session_id = l.session_id AND n.lap_number > l.lap_number AND n.started_at > l.started_at),
           greatest(l.started_at, s.last_frame_at + interval '1 us'))
  FROM sessions s
 WHERE s.id = l.session_id AND (l.ended_at IS NULL OR l.ended_at = l.started_at);

-- Reasons of older versions were English phrases.
UPDATE laps
   SET reasons = ARRAY(
         SELECT coalesce(code, reason)
           FROM unnest(reasons) WITH ORDINALITY AS r (reason, place)
           LEFT JOIN (VALUES
                ('left the pits', 'left_pits'),
                ('standing start', 'standing_start'),
                ('entered the pits', 'entered_pits'),
                ('through the pits', 'through_pits'),
                ('seen from mid-lap', 'joined_mid_lap'),
                ('counted before it was driven', 'early_count'),
                ('hole', 'frames_missing'),
                ('jump', 'position_jump'),
                ('not driven round', 'marks_missed'),
                ('the game says so', 'game_invalidated'),
                ('put back', 'put_back'),
                ('driven anew', 'restarted')
           ) AS c (phrase, code) ON phrase = reason
          ORDER BY place)
 WHERE reasons && ARRAY['left the pits', 'standing start', 'entered the pits', 'through the pits', 'seen from mid-lap',
                        'counted before it was driven', 'hole', 'jump', 'not driven round', 'the game says so', 'put back',
                        'driven anew'];

CREATE INDEX IF NOT EXISTS laps_started_at ON laps (started_at);

-- Sums of the frames of a lap (ingest/store/schema/continuous_aggregates.py), for when they are not kept any longer. A row is valid
-- while the lap has the start, the end and the frames that it had when it was summed up.
CREATE TABLE IF NOT EXISTS lap_sums (
    session_id          integer NOT NULL,
    lap_number          integer NOT NULL,
    started_at          timestamptz NOT NULL,
    ended_at            timestamptz NOT NULL,
    lap_frames          integer NOT NULL,                  -- as the lap engine counted them
    frames              bigint NOT NULL,                   -- as they were stored; 0: none was
    first_frame_at      timestamptz,
    last_frame_at       timestamptz,
    min_speed_kmh       real,
    avg_speed_kmh       double precision,
    max_speed_kmh       real,
    full_throttle_share double precision,
    braking_share       double precision,
    max_rpm             integer,
    PRIMARY KEY (session_id, lap_number)
);

-- Colours of laps and sectors (analytics/laps/best_laps.py). They are apart from the laps, so that no worker waits for another's.
CREATE TABLE IF NOT EXISTS lap_colours (
    session_id     integer NOT NULL,
    lap_number     integer NOT NULL,
    colour         text NOT NULL,                         -- purple, green, yellow; empty: not judged
    sector_colours text[] NOT NULL DEFAULT '{}',
    version        integer NOT NULL,                      -- how often they were judged
    time_ms        integer,                               -- the lap time that was judged
    PRIMARY KEY (session_id, lap_number)
);

-- Every best time that was set, with its lap: of each owner, and of everybody (owner is empty). The fastest row of a
-- part is the best; the ones before it are what it beat.
CREATE TABLE IF NOT EXISTS bests (
    game       text NOT NULL,
    track      text NOT NULL,
    car        text NOT NULL,
    owner      text NOT NULL,
    part       integer NOT NULL,                          -- 0: the lap; 1, 2 ...: its sectors
    layout     text NOT NULL,                             -- sectors compare within one: the game's, or those of a track's version
    time_ms    integer NOT NULL,
    set_at     timestamptz NOT NULL,
    session_id integer NOT NULL,
    lap_number integer NOT NULL,
    PRIMARY KEY (game, track, car, owner, part, layout, time_ms)
);

-- Times to be judged again: a session that set some was deleted, hidden or shown. Whoever judges the scope next takes its rows.
CREATE TABLE IF NOT EXISTS judgements_due (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    game      text NOT NULL,
    track     text NOT NULL,
    car       text NOT NULL,
    since     timestamptz NOT NULL,                       -- what ended from here on
    topic     text NOT NULL,                              -- whose worker judges them first
    partition integer NOT NULL,
    noted_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Sessions that were deleted. Records that come of one, resent or read again, are dropped; of its user and key nothing is left.
CREATE TABLE IF NOT EXISTS deleted_sessions (
    session_id integer PRIMARY KEY,
    key_hash   bytea NOT NULL,                            -- the SHA-256 of its key
    deleted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    erased_at  timestamptz                                -- when the last of its rows was deleted (NULL: some are left)
);
CREATE INDEX IF NOT EXISTS deleted_sessions_key ON deleted_sessions (key_hash);

-- Every loss is a row, never silence: missing sequences of a session, or offsets that retention took from a partition. A row keeps
-- its range until all of it has come; what is missing of it still is the range less the session's received.
CREATE TABLE IF NOT EXISTS gaps (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_id    integer,
    from_sequence bigint,
    to_sequence   bigint,                                 -- both included
    topic         text,
    partition     integer,
    from_offset   bigint,
    to_offset     bigint,                                 -- both included; NULL: how many there were is not known
    reason        text NOT NULL,                          -- missing, retention, replaced (the topic was made anew)
    seen_at       timestamptz NOT NULL DEFAULT now(),
    resolved_at   timestamptz                             -- when all of it had come (NULL: open)
);
CREATE INDEX IF NOT EXISTS gaps_open_up_to ON gaps (session_id, to_sequence) WHERE resolved_at IS NULL;
DROP INDEX IF EXISTS gaps_open;  -- did the same, without the sequence
CREATE INDEX IF NOT EXISTS gaps_open_seen_at ON gaps (seen_at) WHERE resolved_at IS NULL;

-- Records that cannot be stored, within a quota (ingest/store/dead_letters.py); `purple-sector dead-letters list` lists them.
CREATE TABLE IF NOT EXISTS dead_letters (
    topic     text NOT NULL,
    partition integer NOT NULL,
    "offset"  bigint NOT NULL,
    key       bytea,
    value     bytea,                                      -- at most 64 KiB of it
    reason    text NOT NULL,
    seen_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, "offset")
);
ALTER TABLE dead_letters
    ADD COLUMN IF NOT EXISTS user_id text NOT NULL DEFAULT '',           -- of the record's headers
    ADD COLUMN IF NOT EXISTS headers jsonb,                              -- [[name, value in hex or null], …]; NULL: not known
    ADD COLUMN IF NOT EXISTS kind text GENERATED ALWAYS AS (split_part(reason, ':', 1)) STORED,
    ADD COLUMN IF NOT EXISTS bytes integer GENERATED ALWAYS AS (coalesce(octet_length(value), 0)) STORED,
    ADD COLUMN IF NOT EXISTS replayed_at timestamptz,                    -- sent to its topic again (NULL: not yet)
    ADD COLUMN IF NOT EXISTS replayed_offset bigint;                     -- where it lies there since
CREATE INDEX IF NOT EXISTS dead_letters_kept ON dead_letters (kind, topic, bytes) WHERE replayed_at IS NULL;

-- How many dead letters had no place within the quota.
CREATE TABLE IF NOT EXISTS dead_letters_not_kept (
    topic       text NOT NULL,
    partition   integer NOT NULL,
    kind        text NOT NULL,
    count       bigint NOT NULL,
    first_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_reason text NOT NULL,
    PRIMARY KEY (topic, partition, kind)
);

-- What is shared with whom: a session, or one lap of it, with whoever has the link, or with users that have logins. The link's token is
-- stored nowhere. Only revoked_at ever changes; with its session a share is gone.
CREATE TABLE IF NOT EXISTS shares (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_id   integer NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    lap_number   integer,                                 -- only this lap (NULL: the session, live too)
    token_sha256 bytea UNIQUE,                            -- of the link's token (NULL: it is for users, and has no link)
    users        text[] NOT NULL DEFAULT '{}',            -- who may read it with a login of their own
    made_by      text NOT NULL,
    made_at      timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,                             -- NULL: never
    revoked_at   timestamptz,                             -- NULL: it is valid
    CHECK ((token_sha256 IS NULL) = (users <> '{}')),
    CHECK (octet_length(token_sha256) = 32)
);
CREATE INDEX IF NOT EXISTS shares_session ON shares (session_id);

-- The Kafka offsets from which ingest goes on; those that Kafka keeps are ignored. fence counts the owners; next_offset is the next
-- record to read.
CREATE TABLE IF NOT EXISTS partition_offsets (
    topic         text NOT NULL,
    partition     integer NOT NULL,
    next_offset   bigint NOT NULL,
    fence         bigint NOT NULL,
    owner         text NOT NULL,
    backend_pid   integer NOT NULL,
    backend_start timestamptz NOT NULL,
    heartbeat     timestamptz NOT NULL DEFAULT now(),
    topic_id      text,                                   -- Kafka's; another id is another log (NULL: not known)
    PRIMARY KEY (topic, partition)
);
ALTER TABLE partition_offsets ADD COLUMN IF NOT EXISTS topic_id text;
