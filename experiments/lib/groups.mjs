/** Results of cells that are of one network on one dataset: all seeds of it that have run. */
export function* groupsOf(networks, results) {
  for (const [network, how] of Object.entries(networks)) {
    for (const dataset of how.datasets) {
      const rows = results
        .filter(({ cell }) => cell.network === network && cell.images === dataset)
        .map(({ result }) => result);
      if (rows.length > 0) yield { network, dataset, how, rows };
    }
  }
}
