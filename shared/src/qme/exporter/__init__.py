"""`qme exporter`: one page of metrics that speaks for the whole bus. Reads everything, changes nothing of anybody's.

service      connects, runs the parts side by side, serves the page
counting     takes the audit trail from its consumer into the totals, and saves those on the bus
totals, seen, labels   what is counted, what was counted before, under which labels: pure
looking      how things stand now: streams, workers, the janitor, a submitter's answer
backlog      which tasks wait and run now
page         turns both into what Prometheus reads; `catalog` has every metric's name and meaning
"""
