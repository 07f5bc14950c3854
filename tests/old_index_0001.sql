-- An index of schema 1 with a row of every kind, as `sqlite3 index.db .dump` prints it.
BEGIN TRANSACTION;
CREATE TABLE format (
    id            integer primary key,
    header_sha256 blob    not null unique check (length(header_sha256) = 32),  -- of ftyp and moov
    codec         text    not null,                                            -- RFC 6381
    width         integer not null check (width >= 0),                         -- 0: the camera's SPS is unreadable
    height        integer not null check (height >= 0)
);
INSERT INTO "format" VALUES(1,X'CA978112CA1BBDCAFAC231B39A23DC4DA786EFF8147C4E72B9807785AFEE48BB','avc1.640028',1920,1080);
INSERT INTO "format" VALUES(2,X'3E23E8160039594A33894F6564E1B1348BBD7A0088D42C4ACB73EEAED59C009D','hvc1.1.6.L93.B0',640,360);
CREATE TABLE garbage (
    path text primary key                                    -- relative to media/
) without rowid;
INSERT INTO "garbage" VALUES('gate/main/000001/000007.mp4');
INSERT INTO "garbage" VALUES('gate/main/000001/000008.mp4');
CREATE TABLE gone (
    stream_id integer not null references stream (id),
    start_us  integer not null,
    reason    text    not null check (reason in ('evicted', 'deleted', 'disk-error')),
    end_us    integer not null check (end_us >= start_us),
    -- Its columns stand first: SQLite 3.40's integrity check misreads such a table otherwise.
    primary key (stream_id, start_us, reason)
) without rowid;
INSERT INTO "gone" VALUES(1,1762999910000000,'evicted',1762999970000000);
INSERT INTO "gone" VALUES(1,1762999980000000,'disk-error',1762999990000000);
CREATE TABLE meta (
    key   text primary key,
    value text not null
) without rowid;
INSERT INTO "meta" VALUES('boot_id','b1');
INSERT INTO "meta" VALUES('readable_by','1');
INSERT INTO "meta" VALUES('stopped','no');
CREATE TABLE pin (
    job       text    not null,
    stream_id integer not null references stream (id),
    start_us  integer not null,
    end_us    integer not null check (end_us > start_us),
    primary key (job, stream_id, start_us, end_us)
) without rowid;
INSERT INTO "pin" VALUES('job-1',1,1763000000000000,1763000002000000);
CREATE TABLE run (
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
    primary key (stream_id, run)
) without rowid;
INSERT INTO "run" VALUES(1,2,1763000000000000,'rtcp',-1500,'camera-reboot','avc1.640028',1920,1080,1763000000000000,1763000004000000,1);
INSERT INTO "run" VALUES(1,3,1763000060000000,'arrival',NULL,'power','avc1.640028',1920,1080,1763000060000000,1763000062000000,0);
INSERT INTO "run" VALUES(2,1,1763000000000000,'boot',NULL,NULL,'hvc1.1.6.L93.B0',640,360,1763000000000000,1763000002000000,0);
CREATE TABLE segment (
    stream_id   integer not null references stream (id),
    start_us    integer not null,
    run         integer not null,                            -- a row of `run`; not declared: the check would cost a scan
    seq         integer not null check (seq >= 0),
    end_us      integer not null check (end_us >= start_us),
    size_bytes  integer not null check (size_bytes > 0),
    fragments   integer not null check (fragments > 0),
    frames      integer not null check (frames >= 0),
    first_chunk integer not null check (first_chunk >= 0),   -- number in the run of the chunk that starts the file
    chunks      integer not null check (chunks > 0),
    format_id   integer not null references format (id),
    -- Counts rows as they were added, over all streams: the order of eviction, whatever the clock said.
    ordinal     integer not null,
    seal        blob    not null check (length(seal) = 32),  -- of the last fragment
    primary key (stream_id, start_us, run, seq)
) without rowid;
INSERT INTO "segment" VALUES(1,1763000000000000,2,0,1763000002000000,30000,2,30,0,1,1,1,X'6B86B273FF34FCE19D6B804EFF5A3F5747ADA4EAA22F1D49C01E52DDB7875B4B');
INSERT INTO "segment" VALUES(1,1763000002000000,2,1,1763000004000000,20000,2,30,1,1,1,2,X'D4735E3A265E16EEE03F59718B9B5D03019C07D8B6C51F90DA3A666EEC13AB35');
INSERT INTO "segment" VALUES(1,1763000060000000,3,0,1763000062000000,20000,2,30,0,1,1,4,X'4E07408562BEDB8B60CE05C1DECFE3AD16B72230967DE01F640B7E4729B49FCE');
INSERT INTO "segment" VALUES(2,1763000000000000,1,0,1763000002000000,900,2,30,0,1,2,3,X'4B227777D4DD1FC61C6F884F48641D02B4D121D3FD328CB08B5531FCACDABF8A');
CREATE TABLE stream (
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
    unique (camera, stream)
);
INSERT INTO "stream" VALUES(1,'gate','main',4,2,2000000,70000,3);
INSERT INTO "stream" VALUES(2,'gate','sub',2,0,2000000,900,1);
CREATE UNIQUE INDEX segment_ordinal on segment (ordinal);
COMMIT;
pragma user_version = 1;
