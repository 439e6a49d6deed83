#!/usr/bin/env python3
"""Records of moe-a2a as SuperBench's results-summary.jsonl: a line a run, {"node": ..., "benchmark/metric": value}.

superbench_summary.py RECORDS.jsonl >results-summary.jsonl

A run of several nodes stands under its first node, as a benchmark of SuperBench in the mode "mpi" does. return_code
is 0 where every element was right, 1 where not; a run without results has no line.
"""
import json
import sys

SCHEMA = 1
UNITS = (('median_us', 'time_us'), ('busbw_GBps', 'busbw'), ('algbw_GBps', 'algbw'))


def metrics_of(record):
    """Yields name and value of what a record measured."""
    name = '_'.join([record['style'], record['algorithm'], record.get('phase', record.get('pass', ''))]).replace('-', '_')
    if record['record'] == 'exchange':
        for field, unit in UNITS:
            if field in record:
                yield f'{name}_{unit}', record[field]
    else:
        yield f'{name}_iteration_ms', record['time_ms']['iteration']
        for share, value in record['share'].items():
            yield f'{name}_share_{share}', value


def summaries(lines):
    """Yields one summary a run that has results."""
    summary = None
    for line in lines:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue  # cut off in a run that was killed
        if record['record'] == 'run':
            if record['schema'] != SCHEMA:
                sys.exit(f'superbench_summary.py: schema {record["schema"]} is not {SCHEMA}')
            if summary and len(summary) > 1:
                yield summary
            summary = {'node': record.get('hosts', ['unknown'])[0]}
            benchmark = 'moe-a2a:' + record.get('model', {}).get('name', 'raw')
        elif record['record'] in ('exchange', 'iteration') and summary is not None:
            code = f'{benchmark}/return_code'
            summary[code] = max(summary.get(code, 0), 1 if record.get('errors', 0) else 0)
            for name, value in metrics_of(record):
                summary[f'{benchmark}/{name}'] = value
    if summary and len(summary) > 1:
        yield summary


def main():
    if len(sys.argv) != 2:
        sys.exit('usage: superbench_summary.py RECORDS.jsonl')
    with open(sys.argv[1], encoding='utf-8') as lines:
        for summary in summaries(lines):
            print(json.dumps(summary))


if __name__ == '__main__':
    main()
