-- index.db: what the buffer holds. Times are microseconds UTC (_us), sizes bytes.
-- Media files carry the same facts: this database can be rebuilt from them. Only the daemon writes here.
-- Opened with journal_mode = WAL and synchronous = FULL: a committed row survives a power cut.
-- pragma user_version is the version of this schema; meta.readable_by the oldest version that can read it.

-- One row: one stream of one camera that was ever recorded. Never deleted: next_run must not start over.
create table stream (
    id          integer primary key,
    camera      text    not null check (length(camera) between 1 and 32),
    stream      text    not null check (length(stream) between 1 and 32),
    -- A run number is never given twice: paths derive from it, and a garbage row may still name an old path.
    next_run    integer not null default 1 check (next_run >= 1),
    -- Runs below hold no file that is not in `segment` or `garbage`: adoption at start need not look there.
    settled_run integer not null default 0 check (settled_run >= 0),
    -- The longest segment ever added: how far before a moment the segment that covers it may start.
    longest_us  integer not null default 0 check (longest_us >= 0),
    -- Sums over `segment`, kept in the same transactions, since summing two million rows takes a second.
    bytes       integer not null default 0 check (bytes >= 0),
    segments    integer not null default 0 check (segments >= 0),
    -- The site that recorded it, where that is another: its disk was brought here. '': this one.
    site        text    not null default '',
    -- The highest ordinal ever given to a segment: an index over all of them would be a quarter of this file.
    last_ordinal integer not null default 0 check (last_ordinal >= 0),
    unique (camera, stream)
);

-- One row: a folder that media files lie in. 1 is the one beside this database; others are further disks.
create table folder (
    id     integer primary key check (id >= 1),
    -- Also in the folder's `simpang-folder` file: a mount that is missing, or another disk, is not taken for it.
    marker text    not null unique,
    -- Where it was last seen; a relative path counts from the folder of this database.
    path   text    not null,
    -- 1: when it was first used it lay on a disk of its own, so that without its marker that disk is missing.
    apart  integer not null default 0 check (apart in (0, 1))
);

-- One row: one set of codec parameters (thousands of segments share one).
create table format (
    id            integer primary key,
    header_sha256 blob    not null unique check (length(header_sha256) = 32),  -- of ftyp and moov
    codec         text    not null,                                            -- RFC 6381
    width         integer not null check (width >= 0),                         -- 0: the camera's SPS is unreadable
    height        integer not null check (height >= 0)
);

-- One row: one uninterrupted recording of a stream. Outlives its segments until all older ones are gone too.
create table run (
    stream_id        integer not null references stream (id),
    run              integer not null check (run >= 0),
    anchor_us        integer not null,                        -- UTC of decode time 0
    anchor_source    text    not null check (anchor_source in ('rtcp', 'arrival', 'boot')),
    camera_offset_us integer,                                 -- the camera's clock minus ours, where known
    previous_end     text,                                    -- why the run before ended; null: there was none
    codec            text    not null,                        -- at its start
    width            integer not null check (width >= 0),
    height           integer not null check (height >= 0),
    start_us         integer,                                 -- of its first segment ever added
    end_us           integer check (end_us >= start_us),      -- of its last
    last_seq         integer not null default -1,             -- of its last; -1: no segment was added yet
    boot_id          text,                                    -- of the gateway, while it was recorded
    anchor_boot_us   integer,                                 -- time since that boot at decode time 0
    -- The clock was wrong: every time of this run was moved by anchor_us - recorded_anchor_us. Null: never.
    recorded_anchor_us integer,
    drift_ppm        real,                                    -- how much faster the camera's clock ran than ours
    primary key (stream_id, run)
) without rowid;

-- Runs that are to be dated anew, and those of a boot by which they are.
create index run_undated on run (boot_id) where anchor_source = 'boot' and recorded_anchor_us is null;
create index run_boot on run (boot_id, anchor_boot_us) where boot_id is not null;

-- One row: one closed media file, media/{camera}/{stream}/{run}/{seq}.mp4. Its file was made durable first.
-- Clustered by stream and time, so that a clip reads neighbouring pages.
create table segment (
    stream_id   integer not null references stream (id),
    start_us    integer not null,
    run         integer not null,                            -- a row of `run`; not declared: the check would cost a scan
    seq         integer not null check (seq >= 0),
    duration_us integer not null check (duration_us >= 0),    -- half as long as a moment; end_us says the same
    size_bytes  integer not null check (size_bytes > 0),
    fragments   integer not null check (fragments > 0),
    frames      integer not null check (frames >= 0),
    first_chunk integer not null check (first_chunk >= 0),   -- number in the run of the chunk that starts the file
    chunks      integer not null check (chunks > 0),
    format_id   integer not null references format (id),
    -- The order of eviction, over all streams: milliseconds, about when the file ended by the clock of then, but
    -- above those of all that was recorded before it, whatever the clock said. Of files taken in late two may
    -- be equal.
    ordinal     integer not null,
    seal        blob    not null check (length(seal) = 16),  -- the first half of the last fragment's
    folder_id   integer not null default 1,                  -- a row of `folder`; not declared, as with run
    end_us      integer not null generated always as (start_us + duration_us) virtual,
    primary key (stream_id, start_us, run, seq)
) without rowid;

-- One row: what a stream has in a folder. Sums over `segment`, kept as those in `stream` are.
create table stored (
    stream_id integer not null references stream (id),
    folder_id integer not null,
    bytes     integer not null check (bytes >= 0),
    segments  integer not null check (segments >= 0),
    primary key (stream_id, folder_id)
) without rowid;

-- One row: a file to unlink, media/{camera}/{stream}/{run}/{seq}.mp4 of its folder. Delete = row to garbage,
-- unlink, sync the folder, drop the row.
create table garbage (
    folder_id integer not null,
    stream_id integer not null,                              -- a row of `stream`; not declared, as with run
    run       integer not null check (run >= 0),
    seq       integer not null check (seq >= 0),
    primary key (folder_id, stream_id, run, seq)
) without rowid;

-- One row: a stretch that was recorded and is no more: the record of every deletion. Neighbours of one day, rule
-- and person are one row, so that years of eviction are not a million.
create table gone (
    stream_id integer not null references stream (id),
    start_us  integer not null,
    reason    text    not null check (reason in ('evicted', 'deleted', 'disk-error')),
    end_us    integer not null check (end_us >= start_us),
    bytes     integer not null default 0,                    -- of the files removed
    segments  integer not null default 0,
    first_at_us integer,                                     -- when the first of them was removed, by our clock
    last_at_us  integer,
    rule      text    not null default '',                   -- space quota age order person lost
    who       text    not null default '',                   -- the person, where one asked
    why       text    not null default '',                   -- that person's reason
    -- Its columns stand first: SQLite 3.40's integrity check misreads such a table otherwise.
    primary key (stream_id, start_us, reason)
) without rowid;

-- One row: a time range that nobody evicts while a job needs it.
create table pin (
    job       text    not null,
    stream_id integer not null references stream (id),
    start_us  integer not null,
    end_us    integer not null check (end_us > start_us),
    primary key (job, stream_id, start_us, end_us)
) without rowid;

-- One row: a range that nobody evicts, because a person said so.
create table hold (
    id         integer primary key,
    camera     text    not null,
    stream     text,                                         -- null: all streams of the camera
    start_us   integer not null,
    end_us     integer not null check (end_us > start_us),
    reason     text    not null check (length(reason) between 1 and 500),
    case_ref   text    not null default '',                  -- holds of one case are released together
    who        text    not null,                             -- who asked for it
    legal      integer not null default 0 check (legal in (0, 1)),  -- 1: not bound by hold_max_percent
    until_us   integer,                                      -- ends by itself then; null: until released
    made_us    integer not null,
    -- A hold that has ended stays, as the record of who held what and who let it go.
    released_us integer,                                     -- null: it holds
    released_by text,                                        -- '': its time was up
    released_why text   not null default ''
);

create index hold_camera on hold (camera, start_us) where released_us is null;

-- One row: something that happened before a camera; its footage may be kept longer.
create table event (
    id         integer primary key,
    camera     text    not null,
    kind       text    not null check (kind in ('motion', 'line', 'area', 'tamper', 'video-loss', 'input', 'sound',
                                                'object', 'other')),
    start_us   integer not null,                             -- by the gateway's clock
    end_us     integer check (end_us >= start_us),           -- null: goes on
    camera_us  integer,                                      -- when it began by the camera's clock
    source     text    not null default '',                  -- who says so: an ONVIF topic, a person, a program
    words      text    not null default ''                   -- the source's own
);

create index event_camera on event (camera, start_us);

-- One row: the TLS certificate by which a camera is known at a port: the first that it showed there.
create table certificate (
    camera    text    not null,
    port      integer not null check (port between 1 and 65535),
    sha256    blob    not null check (length(sha256) = 32),
    seen_us   integer not null,                              -- when it was first seen, by the gateway's clock
    primary key (camera, port)
) without rowid;

-- One row: one fact about this database or the last run of the daemon (boot_id, stopped_clean, readable_by).
create table meta (
    key   text primary key,
    value text not null
) without rowid;
