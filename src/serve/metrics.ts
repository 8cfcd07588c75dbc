/** What a server tells Prometheus. */
import type { Server } from 'node:http';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { ModelHost } from './model-host.js';
import { Registry } from './prometheus.js';

const seconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5] as const;

export class ServeMetrics {
  readonly #registry = new Registry();
  readonly #requests = this.#registry.counter(
    'espalier_http_requests_total',
    'Requests by route and status.',
  );
  readonly #latency = this.#registry.histogram(
    'espalier_predict_seconds',
    'Time of answered POST /predict requests, from their head to the answer.',
    seconds,
  );
  readonly #rows = this.#registry.histogram(
    'espalier_batch_rows',
    'Rows answered at once.',
    [1, 2, 4, 8, 16, 32, 64, 128, 256],
  );
  readonly #waited = this.#registry.histogram(
    'espalier_batch_wait_seconds',
    'Longest wait for a free worker, per batch.',
    seconds,
  );
  readonly #worked = this.#registry.histogram(
    'espalier_batch_work_seconds',
    'Time from the hand-over of a batch to its answers.',
    seconds,
  );
  readonly #refused = this.#registry.counter('espalier_refused_total', 'Requests turned away, by reason.');
  readonly #open = new Set<object>();

  request(route: string, status: number, milliseconds: number): void {
    this.#requests.add({ route, status });
    if (route === '/predict' && status < 400) this.#latency.observe(milliseconds / 1000);
  }

  batch(rows: number, waited: number, worked: number): void {
    this.#rows.observe(rows);
    this.#waited.observe(waited);
    this.#worked.observe(worked);
  }

  refused(reason: string): void {
    this.#refused.add({ reason });
  }

  /** Begins to report of the model and the process. */
  watch(models: ModelHost, server: () => Server): void {
    const registry = this.#registry;
    server().on('connection', (socket) => {
      this.#open.add(socket);
      socket.once('close', () => this.#open.delete(socket));
    });
    const { batcher } = models;
    registry.gauge('espalier_queue_rows', 'Rows that wait for a worker.', () => batcher.queuedRows);
    registry.gauge('espalier_workers', 'Workers in service.', () => batcher.lanes);
    registry.gauge('espalier_connections', 'Open connections.', () => this.#open.size);
    registry.gauge('espalier_model_info', 'The model in service.', () => {
      const { id, shape, spec } = models.current.model;
      const output = spec.output.kind;
      return [[{ model: id, labels: shape.labels, features: shape.features, output }, 1]];
    });
    registry.gauge(
      'espalier_model_loaded_timestamp_seconds',
      'When the model in service was made ready.',
      () => models.current.loadedAt.getTime() / 1000,
    );
    registry.counted('espalier_reloads_total', 'Replaced models taken over.', () => models.reloads.ok);
    registry.counted(
      'espalier_reloads_failed_total',
      'Replaced models that could not be taken over.',
      () => models.reloads.failed,
    );
    registry.counted(
      'espalier_worker_deaths_total',
      'Workers that ended by themselves.',
      () => models.workerDeaths,
    );
    registry.gauge('process_resident_memory_bytes', 'Resident memory.', () => process.memoryUsage.rss());
    registry.counted('process_cpu_seconds_total', 'Processor time, all threads.', () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    });
    const delay = monitorEventLoopDelay({ resolution: 10 });
    delay.enable();
    registry.gauge(
      'espalier_event_loop_delay_seconds',
      'Delay of the event loop since the last reading, by quantile.',
      () => {
        const found = [0.5, 0.99].map(
          (quantile) => [{ quantile }, delay.percentile(100 * quantile) / 1e9] as const,
        );
        delay.reset();
        return found;
      },
    );
  }

  text(): string {
    return this.#registry.text();
  }
}
