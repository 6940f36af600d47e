/**
 * The value that stands at place n, from 1 on, of the values by falling size; they are moved (quickselect, Hoare 1961).
 */
export function nthGreatest(values: Float64Array, n: number): number {
  let [from, to] = [0, values.length - 1];
  const wanted = n - 1;
  while (from < to) {
    const pivot = values[(from + to) >> 1]!;
    let [i, j] = [from, to];
    while (i <= j) {
      while (values[i]! > pivot) i++;
      while (values[j]! < pivot) j--;
      if (i <= j) {
        const value = values[i]!;
        values[i++] = values[j]!;
        values[j--] = value;
      }
    }
    if (wanted <= j) to = j;
    else if (wanted >= i) from = i;
    else break;
  }
  return values[wanted]!;
}
