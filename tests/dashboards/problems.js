// Waits until the page has this number of panels and each shows something. Returns a line for each panel without data or
// with an error.
(count, milliseconds) => new Promise((resolve) => {
  const problemOf = (panel) => {
    const error = panel.querySelector('[role=alert]');
    if (error) return error.innerText;
    if (panel.querySelector('[aria-label="panel errors"]')) return 'a query has an error';
    if (panel.querySelector('[role=progressbar], .MuiSkeleton-root')) return 'loading';
    const canvases = [...panel.querySelectorAll('canvas')];
    const text = [panel.querySelector('figure')?.innerText, ...canvases.flatMap((canvas) => canvas.texts)].join(' ');
    if (text.trim() === '') return 'loading';
    return text.includes('No data') ? 'No data' : '';
  };
  const end = performance.now() + milliseconds;
  const look = () => {
    const panels = [...document.querySelectorAll('[data-testid=panel]')];
    const problems = panels.map((panel) => [panel.querySelector('header')?.innerText ?? '', problemOf(panel)]);
    const loading = panels.length !== count || problems.some(([, problem]) => problem === 'loading');
    if (loading && performance.now() < end) {
      setTimeout(look, 200); // more often, it would slow down the page on a busy machine
      return;
    }
    const lines = problems.filter(([, problem]) => problem).map(([title, problem]) => `${title}: ${problem}`);
    if (panels.length !== count) lines.push(`the page has ${panels.length} panels, not ${count}: ${document.body.innerText}`);
    resolve(lines);
  };
  look();
})
