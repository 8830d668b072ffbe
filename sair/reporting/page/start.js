// ------------------------------------------------------------------------------------------------------------------
// The page

const { about } = data;
$('dataset').textContent = about.dataset;
$('results').textContent = `${about.results}/`;
$('facts').textContent = [
  `${about.size} × ${about.size} pixels`, about.images && `${about.images} test images, each under ${about.masks}`, `preset ${about.preset}`,
  `seed${about.seeds.length > 1 ? 's' : ''} ${about.seeds.join(', ')}`, about.manifest && `manifest ${about.manifest}`,
].filter(Boolean).join(' · ');
$('warning').hidden = about.as_published;
$('terms').hidden = about.embedded;

for (const [name, text] of Object.entries(questions)) $('question').append(option('question', name, name === question, make('span', {}, text)));
$('question').addEventListener('change', (event) => {
  question = event.target.value;
  hush();
  for (const redraw of redraws) redraw();
});
for (const table of data.tables) $('tables').append(qualityTable(table));
absent($('tables'), /^Table/);
$('grey').hidden = !data.tables.some((table) => table.claim);
if (data.gallery) gallery();
else $('explorer').hidden = true;
absent($('gallery'), /gallery$/);
if (data.claims) claims($('claims'));
else for (const part of $('claims').querySelectorAll('.lead, .controls')) part.hidden = true;
absent($('claims'), /^Claims/);
$('claims').hidden = !data.claims && !data.missing.some(({ part }) => part === 'Claims');
if (data.curves.length) training($('training'));
else $('training').hidden = true;
for (const { seed, image } of data.maps) $('maps').append(make('h3', {}, `Seed ${seed}`), make('div', { class: 'wide' }, make('img', { src: image, alt: `Semantic maps of masked images before and after completion, seed ${seed}` })));
absent($('maps'), /^Semantic maps/);
$('maps').hidden = $('maps').children.length < 3;
for (const section of document.querySelectorAll('main > section:not([hidden])')) document.querySelector('nav').append(make('a', { href: `#${section.id}` }, section.querySelector('h2').textContent));
