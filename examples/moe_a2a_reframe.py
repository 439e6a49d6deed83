"""ReFrame: the dispatch of a MoE layer is right, and as fast as it was.

Run with: reframe -c examples/moe_a2a_reframe.py -r     (moe-a2a in PATH; written for ReFrame 4)
"""
import reframe as rfm
import reframe.utility.sanity as sn


@rfm.simple_test
class moe_a2a_layer(rfm.RunOnlyRegressionTest):
    descr = 'Dispatch and combine of one MoE layer'
    style = parameter(['exact', 'padded'])
    valid_systems = ['*']
    valid_prog_environs = ['*']
    num_tasks = 16
    num_tasks_per_node = 8
    executable = 'moe-a2a'
    records = 'moe-a2a.jsonl'
    keep_files = ['moe-a2a.jsonl']
    # For each system what a healthy run gave, and by how much it may be less or more, as fractions:
    # reference = {'mysystem:gpu': {'dispatch': (1250.0, None, 0.05, 'us'), 'busbw': (42.0, -0.05, None, 'GB/s')}}

    @run_before('run')
    def set_options(self):
        self.executable_opts = [
            'layer', '--model', 'mixtral-8x7b', '--tokens', '4096', '--skew', 'zipf:1.0',
            '--style', self.style, '--json', self.records
        ]

    @sanity_function
    def every_element_is_right(self):
        return sn.all([
            sn.assert_eq(self.job.exitcode, 0),
            sn.assert_found(r'"record":"exchange".*"errors":0\b', self.records),
            sn.assert_not_found(r'"errors":[1-9]', self.records),
            sn.assert_not_found(r'"converged":false', self.records)
        ])

    @performance_function('us')
    def dispatch(self):
        return sn.extractsingle(r'"phase":"dispatch".*"median_us":(\S+?)[,}]', self.records, 1, float)

    @performance_function('GB/s')
    def busbw(self):
        return sn.extractsingle(r'"phase":"dispatch".*"busbw_GBps":(\S+?)[,}]', self.records, 1, float)
