-- Write amplification over time: bytes programmed for each byte that hosts wrote, in a hundred pieces of time.
WITH span AS (SELECT min(now_ns) AS first, (max(now_ns) - min(now_ns)) / 100 + 1 AS width FROM 'counters.parquet'),
pieces AS (
    SELECT drive, (now_ns - first) // width AS piece, max(now_ns) AS now_ns, max(host_bytes_written) AS written,
           max((flash_programs + gc_programs) * page_bytes) AS programmed
    FROM 'counters.parquet', span GROUP BY drive, piece
)
SELECT drive, now_ns, (programmed - lag(programmed) OVER w) / nullif(written - lag(written) OVER w, 0) AS write_amplification
FROM pieces
WINDOW w AS (PARTITION BY drive ORDER BY piece)
ORDER BY drive, now_ns;
