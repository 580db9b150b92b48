-- Who had the compute units: jobs, their time, and how long they waited, by group and program.
SELECT "group", program, count(*) AS jobs, sum(ran_ns) / sum(sum(ran_ns)) OVER () AS share,
       avg(waited_ns) AS waited_ns, quantile_disc(waited_ns, 0.99) AS waited_p99_ns, avg(ran_ns) AS ran_ns
FROM 'jobs.parquet'
GROUP BY "group", program
ORDER BY share DESC;
