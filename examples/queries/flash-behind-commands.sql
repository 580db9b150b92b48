-- How many reads of dies does a command need, how long do they wait for their die, and which die was the slowest?
SELECT c.csi, c.opcode, count(DISTINCT c.id) AS commands, count(*) / count(DISTINCT c.id) AS die_reads_of_a_command,
       avg(d.start_ns - c.fetched_ns) AS waited_for_the_die_ns, avg(d.end_ns - d.start_ns) AS on_the_die_ns,
       arg_max(d.die, d.start_ns - c.fetched_ns) AS slowest_die
FROM 'commands.parquet' c JOIN 'dies.parquet' d ON d.command = c.id AND d.drive = c.drive
GROUP BY c.csi, c.opcode
ORDER BY c.csi, c.opcode;
