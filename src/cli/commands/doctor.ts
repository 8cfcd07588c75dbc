import { Command } from 'commander';
import { backendReport, measurePeak, type Peak } from '../../kernels/report.js';
import { out } from '../terminal.js';

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('which kernels run on this machine, why, and how to get better ones')
    .option('--measure', 'measure the peak of every instruction set and of memory (a few seconds)')
    .option('--json', 'print JSON')
    .action(async (options: { measure?: boolean; json?: boolean }) => {
      const report = await backendReport();
      const counts = report.machine.cores > 1 ? [1, report.machine.cores] : [1];
      const peaks: Peak[] = options.measure
        ? report.isas.flatMap((isa) => counts.map((threads) => measurePeak(isa, threads)))
        : [];
      if (options.json) {
        out(JSON.stringify({ ...report, peaks }));
        return;
      }
      const { machine, compiler, isas } = report;
      out(`machine   ${machine.cpu}, ${machine.cores} cores, ${machine.platform}, Node ${machine.node}`);
      out(
        `kernels   ${report.backend ?? 'none'}${report.threads > 0 ? ` on ${report.threads} threads` : ''}`,
      );
      out(`why       ${report.reason}`);
      for (const { path, exists, origin, refusal } of report.addon) {
        out(`addon     ${path} (${exists ? origin : 'missing'})`);
        if (refusal !== null) out(`          not loaded: ${refusal}`);
      }
      out(
        `isa       ${isas.length === 0 ? 'unknown without an addon' : `${isas.join(', ')} (force one with ESPALIER_ISA)`}`,
      );
      out(`compiler  ${compiler === null ? 'none found' : `${compiler.path} (${compiler.version})`}`);
      if (report.remedy !== null) out(`to do     ${report.remedy}`);
      else out('to do     nothing: these are the fastest kernels that this machine can run');
      for (const { isa, threads, gflops, copyGBs } of peaks) {
        out(`peak      ${isa} on ${threads}: ${gflops.toFixed(0)} GFLOP/s, copy ${copyGBs.toFixed(1)} GB/s`);
      }
    });
}
